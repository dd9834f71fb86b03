"""The command line. Talks to the API through the client; `up` and `doctor` want a checkout."""
