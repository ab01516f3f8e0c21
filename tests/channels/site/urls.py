"""A view that speaks to a group, as any view of an application may."""

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.http import HttpResponse
from django.urls import path


def announce(request, group):
    message = {"type": "chat.message", "message": request.GET["message"]}
    async_to_sync(get_channel_layer().group_send)(group, message)
    return HttpResponse("sent")


urlpatterns = [path("announce/<str:group>/", announce)]
