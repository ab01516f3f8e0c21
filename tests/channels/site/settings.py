"""The settings of the chat of Channels' tutorial, as far as a test needs them."""

import os

SECRET_KEY = "not one"
DEBUG = True
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["daphne", "channels", "chat"]
ROOT_URLCONF = "urls"
ASGI_APPLICATION = "asgi.application"
USE_TZ = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [os.environ["REDIS"]]},
    },
}
