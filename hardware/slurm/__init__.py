"""The jobs of a Slurm cluster, by its command line or its REST service."""
