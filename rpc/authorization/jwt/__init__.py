"""RequestAuthentication: tokens, as Envoy's ``jwt_authn`` filter checks them.

`filter` compiles one; `requirement` is what it requires, `provider` what one issuer's tokens must be like, `token` and
`keys` read and verify them, `places` finds them, `outputs` hands on what they say, `remote` fetches keys.
"""
