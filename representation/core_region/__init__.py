"""Where the product is on its picture (MOON v1's core semantic region): detectors, boxes, crops."""
