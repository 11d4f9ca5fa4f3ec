"""The fast lane: plain GETs and HEADs of objects, answered at the socket. It need not be complete, only right."""
