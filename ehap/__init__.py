"""Small, fast convolutional networks by what the Hessian says about their channels."""
