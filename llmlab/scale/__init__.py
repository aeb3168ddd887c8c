"""What only full size needs: plans, compiled and fused steps, fast sampling, several GPUs.

`planner` chooses sizes by the `scaling_law`; `gpu` is for one GPU; `cuda_graphs` writes a batch of
answers with fixed shapes; `distributed` is for several processes; `fsdp` splits one model over
them.
"""
