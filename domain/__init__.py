"""The rules of the store: values in, values out. Standard library only; time, ids and data are arguments."""
