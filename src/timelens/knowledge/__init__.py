"""What is imaged and measured: quantities, agents, nuclides, as data files with queries."""
