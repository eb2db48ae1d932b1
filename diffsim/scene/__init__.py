"""What a user declares: bodies, tools, articulations, shapes, materials, contact. Plain records, checked when they are made."""
