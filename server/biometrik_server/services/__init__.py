"""The services of the contract, one a file: convert in, call the engine, convert out."""
