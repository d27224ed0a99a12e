"""The demo: one service, two versions, Istio YAML that moves the calls between them. Run `python -m examples.demo`.

Read `steps.py` for what happens and `consumer.py` for how a program calls through the mesh.
"""
