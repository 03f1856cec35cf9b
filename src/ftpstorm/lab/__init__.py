"""Disposable networks on this machine: namespaces that are gone with their last process."""
