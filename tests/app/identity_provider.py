"""An OpenID Connect provider for tests: whoever comes is signed in as the person that it was started with.

python identity_provider.py PORT EMAIL
"""

import sys
import time
from urllib.parse import urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route

PORT, EMAIL = sys.argv[1:]
ISSUER = f"http://127.0.0.1:{PORT}"
KEY = RSAKey.generate_key(2048, {"kid": "test", "use": "sig", "alg": "RS256"})
NONCES: dict[str, str | None] = {}
"""Code -> nonce of the request that it answers."""


def configuration(_: Request) -> JSONResponse:
    return JSONResponse(
        {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
    )


def authorize(request: Request) -> RedirectResponse:
    asked = request.query_params
    code = f"code-{len(NONCES)}"
    NONCES[code] = asked.get("nonce")
    return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)


async def token(request: Request) -> JSONResponse:
    form = await request.form()
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "winnow", "sub": "1", "iat": now, "exp": now + 600, "email": EMAIL}
    claims |= {"email_verified": True, "nonce": NONCES.pop(str(form["code"]))}
    id_token = jwt.encode({"alg": "RS256", "kid": "test"}, claims, KEY)
    return JSONResponse({"access_token": "a", "token_type": "Bearer", "expires_in": 600, "id_token": id_token})


def keys(_: Request) -> JSONResponse:
    return JSONResponse({"keys": [KEY.as_dict(private=False)]})


routes = [
    Route("/.well-known/openid-configuration", configuration),
    Route("/authorize", authorize),
    Route("/token", token, methods=["POST"]),
    Route("/keys", keys),
]
uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(PORT), log_level="error")
