"""Rigid and articulated bodies in generalized coordinates with compliant contact; the equations are in docs/rigid.md."""
