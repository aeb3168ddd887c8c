"""What only full size needs: plans, compiled and fused steps, fast sampling, several GPUs.

`plan` chooses sizes by the scaling rule; `speed` is one GPU's; `sampling` writes a batch of answers
with fixed shapes; `ranks` is for several processes; `sharded` splits one model over them.
"""
