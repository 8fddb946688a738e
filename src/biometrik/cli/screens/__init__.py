"""What people see on the terminal; one module for each module of commands."""
