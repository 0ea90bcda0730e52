"""Image-text co-augmentation (MOON2.0, arXiv 2511.12449): products described and shown in further ways, for training alone."""
