"""`latentfarm verify`: the bucket held against SQL, object by object."""
