"""MLS-MPM for soft bodies: constitutive law, particle-grid transfer, grid contact, and the schedule of a control step."""
