"""What crosses a socket: messages, their bytes, and the sockets that carry them."""
