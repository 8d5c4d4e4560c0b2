"""The paper's synthetic sets, and pictures that are drawn where there are no photographs."""
