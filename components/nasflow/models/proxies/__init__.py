"""Zero-cost proxies: what an untrained network says about the trained one, from one batch."""
