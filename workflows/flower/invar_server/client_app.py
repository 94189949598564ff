"""No client: the nodes are `invar federate client`."""

from flwr.clientapp import ClientApp

app = ClientApp()
