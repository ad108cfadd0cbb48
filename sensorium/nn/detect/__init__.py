"""Parts of a detector: boxes, anchors, suppression, pooling of regions, matching, proposals."""
