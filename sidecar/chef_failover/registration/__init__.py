"""Registration of this node with every Chef server, ahead of need, by the providers behind `base.Provider`."""
