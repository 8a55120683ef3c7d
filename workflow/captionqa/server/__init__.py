"""Model servers: started, supervised, published and ended, on this machine and on Slurm."""
