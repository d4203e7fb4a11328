"""The web archive: pages for members, made from what is kept. It changes nothing."""
