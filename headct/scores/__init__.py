"""Score tables: folders of label maps scored, runs compared, subgroups, outlines over slices."""
