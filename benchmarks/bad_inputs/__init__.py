"""Wrong arguments to every public constructor and function: how they are refused."""
