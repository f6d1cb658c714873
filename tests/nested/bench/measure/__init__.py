"""The half of the benchmark that runs in dom0: starts domains, causes traffic, and says what it cost."""
