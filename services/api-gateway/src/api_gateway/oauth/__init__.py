"""The client side of AT Protocol OAuth (https://atproto.com/specs/oauth): who we are, what servers say, what we send.

It knows neither sessions nor pages; ``api_gateway.auth.login`` runs a login with it.
"""
