"""`python -m bench report`: one page of the JSON files of a folder, and the comparison of two folders."""
