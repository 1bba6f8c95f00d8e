# SPDX-License-Identifier: Apache-2.0
"""aioxmpp in rooms (see lines.py)."""

import asyncio

from lines import out, serve

import aioxmpp
import aioxmpp.muc
from aioxmpp import JID

import aioxmpp_peer


class Commands(aioxmpp_peer.Commands):
    def summon(self):
        super().summon()
        self.muc = self.client.summon(aioxmpp.MUCClient)
        self.muc.on_muc_invitation.connect(self.invited)

    def invited(self, stanza, muc_address, inviter_address, mode, *, password=None, reason=None, **more):
        out(event="invited", room=str(muc_address), reason=reason or "")

    async def enter(self, room, nick):
        room, entered = self.muc.join(JID.fromstr(room), nick)
        self.room = room
        room.on_message.connect(self.said)
        room.on_topic_changed.connect(lambda member, topic, **more: out(event="subject", subject=topic.any() if topic else ""))
        room.on_join.connect(lambda member, **more: out(event="occupant", nick=member.nick, type="available"))
        room.on_leave.connect(lambda member, muc_leave_mode=None, **more: out(event="occupant", nick=member.nick, type="unavailable", mode=muc_leave_mode.name))
        room.on_exit.connect(lambda muc_leave_mode=None, **more: out(event="exit", mode=muc_leave_mode.name))
        room.on_muc_suspend.connect(lambda: out(event="room_suspended"))
        room.on_muc_resume.connect(lambda: out(event="room_resumed"))
        await asyncio.wait_for(entered, 20)
        return sorted(member.nick for member in room.members)

    def said(self, message, member, source, **more):
        if message.body:
            out(event="said", **aioxmpp_peer.describe(message))

    async def say(self, body):
        message = aioxmpp.Message(type_=aioxmpp.MessageType.GROUPCHAT)
        message.body[None] = body
        await self.room.send_message(message)

    async def rename(self, nick):
        await asyncio.wait_for(self.room.set_nick(nick), 20)


if __name__ == "__main__":
    asyncio.run(serve(Commands()))
