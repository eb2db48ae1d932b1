"""Triangle meshes: repair, signed distance, convex parts."""
