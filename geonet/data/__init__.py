"""Data sets: levy (1-D regression), banana (2-D classification), and what tables have in common."""
