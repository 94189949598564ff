"""The program ``invar-learn``: what the package ``invar`` trains and embeds with. It has no functions of its own.

It lies beside the torch that it is made for, and finds its libraries there."""
