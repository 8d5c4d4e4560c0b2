"""What experiments share: options, runs and where they are done, results, statistics, tables."""
