"""What facts mean. Pure: each function takes facts and advice, and gives findings; none looks at anything itself."""
