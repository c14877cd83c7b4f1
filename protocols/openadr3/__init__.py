"""OpenADR 3: messages, JSON codec and neutral mapping, for 3.1 (definition 3.1.1) and the client's side of 3.0.1."""
