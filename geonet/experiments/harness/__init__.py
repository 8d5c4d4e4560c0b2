"""What experiments share: options, runs and where they run, results, statistics, tables."""
