"""ViT's weights as timm, Google and Hugging Face publish them."""

LAYOUTS = ()
