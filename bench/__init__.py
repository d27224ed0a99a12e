"""Measurements of ours beside a rival: `python -m bench rpc`. Nothing here is installed or imported by the product."""
