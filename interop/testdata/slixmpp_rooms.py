# SPDX-License-Identifier: Apache-2.0
"""slixmpp in rooms (see lines.py)."""

import asyncio
import xml.etree.ElementTree as ET

from lines import out, serve

import slixmpp
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import slixmpp_peer


class Peer(slixmpp_peer.Peer):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password, ca)
        for name in ("xep_0045", "xep_0077", "xep_0249"):
            self.register_plugin(name)
        self.add_event_handler("groupchat_message", self.said)
        self.add_event_handler("groupchat_subject", lambda m: out(event="subject", room=m["from"].bare, subject=m["subject"]))
        self.add_event_handler("groupchat_direct_invite", lambda m: out(event="invited", room=str(m["groupchat_invite"]["jid"]), reason=m["groupchat_invite"]["reason"]))
        self.add_event_handler("groupchat_presence", self.occupant)
        # Its own event is for messages with a body.
        self.register_handler(Callback("annotations", MatchXPath("{jabber:client}message"), self.annotated))

    def annotated(self, message):
        """Reactions, messages that are taken back, by whom they are from or by a moderator, and
        declined invitations, of which slixmpp's own handler fails."""
        decline = message.xml.find("{http://jabber.org/protocol/muc#user}x/{http://jabber.org/protocol/muc#user}decline")
        if decline is not None:
            reason = decline.findtext("{http://jabber.org/protocol/muc#user}reason")
            out(event="declined", by=decline.get("from"), reason=reason, **{"from": str(message["from"])})
        reactions = message.xml.find("{urn:xmpp:reactions:0}reactions")
        if reactions is not None:
            out(event="reactions", id=reactions.get("id"), values="".join(r.text for r in reactions), **{"from": str(message["from"])})
        retract = message.xml.find("{urn:xmpp:message-retract:1}retract")
        if retract is not None:
            moderated = retract.find("{urn:xmpp:message-moderate:1}moderated") is not None
            out(event="retracted", id=retract.get("id"), moderated=moderated, **{"from": str(message["from"])})

    def said(self, message):
        occupant = message.xml.find("{urn:xmpp:occupant-id:0}occupant-id")
        out(event="said", occupant=occupant.get("id") if occupant is not None else "", **slixmpp_peer.describe(message))

    def occupant(self, presence):
        item = presence["muc"]
        out(event="occupant", nick=item["nick"], type=presence["type"], role=item["role"], affiliation=item["affiliation"], jid=str(item["jid"]))


class Commands(slixmpp_peer.Commands):
    async def connect(self, jid, password, host, port, ca):
        self.address = (host, port)
        self.peer = Peer(jid, password, ca)
        self.peer.default_port = port  # for what is found by looking up the host
        self.peer.connect((host, port))

    async def enter(self, room, nick):
        """slixmpp's own way; gives who is there."""
        await self.peer["xep_0045"].join_muc_wait(slixmpp.JID(room), nick, maxstanzas=0, timeout=20)
        return sorted(self.peer["xep_0045"].get_roster(room))

    async def leave(self, room, nick):
        self.peer["xep_0045"].leave_muc(slixmpp.JID(room), nick)

    async def configure(self, room, values):
        muc = self.peer["xep_0045"]
        form = await muc.get_room_config(slixmpp.JID(room), timeout=20)
        form["type"] = "submit"
        for name, value in values.items():
            form.field[name]["value"] = value
        await muc.set_room_config(slixmpp.JID(room), form, timeout=20)

    async def invite(self, room, jid, reason):
        self.peer["xep_0045"].invite(slixmpp.JID(room), slixmpp.JID(jid), reason)

    async def decline(self, room, jid, reason):
        self.peer["xep_0045"].decline(slixmpp.JID(room), slixmpp.JID(jid), reason)

    async def registered(self, room):
        """The nick that is reserved, or the fields of the form."""
        got = (await self.peer["xep_0077"].get_registration(jid=slixmpp.JID(room), timeout=20))["register"]
        if got["registered"]:
            return got["username"]
        return sorted(got["form"].get_fields())

    async def register(self, room, nick):
        """Fills in the form that the room gives."""
        form = (await self.peer["xep_0077"].get_registration(jid=slixmpp.JID(room), timeout=20))["register"]["form"]
        form["type"] = "submit"
        form.field["muc#register_roomnick"]["value"] = nick
        iq = self.peer.make_iq_set(ito=slixmpp.JID(room))
        iq["register"].append(form)
        await iq.send(timeout=20)

    async def unregister(self, room):
        await self.peer["xep_0077"].cancel_registration(jid=slixmpp.JID(room), timeout=20)

    async def whisper(self, occupant, body):
        message = self.peer.make_message(mto=occupant, mbody=body, mtype="chat")
        message["id"] = message["origin_id"]["id"] = self.peer.new_id()
        message.append(ET.Element("{http://jabber.org/protocol/muc#user}x"))
        message.send()

    async def whispered(self, occupant):
        """What one's own archive has of private messages with somebody in a room."""
        result = await self.peer["xep_0313"].retrieve(with_jid=slixmpp.JID(occupant), rsm={"max": 50}, timeout=20)
        return [m["mam_result"]["forwarded"]["stanza"]["body"] for m in result["mam"]["results"]]

    async def say(self, room, body):
        message = self.peer.make_message(mto=room, mbody=body, mtype="groupchat")
        message["id"] = message["origin_id"]["id"] = self.peer.new_id()
        message.send()
        return message["id"]

    async def annotate(self, to, type, xml):
        """Sends a message about another one."""
        message = self.peer.make_message(mto=to, mtype=type)
        message["id"] = self.peer.new_id()
        message.append(ET.fromstring(xml))
        message.send()

    async def subject(self, room, subject):
        self.peer["xep_0045"].set_subject(slixmpp.JID(room), subject)

    async def affiliation(self, room, affiliation, jid):
        await self.peer["xep_0045"].set_affiliation(slixmpp.JID(room), affiliation, jid=slixmpp.JID(jid), timeout=20)

    async def role(self, room, nick, role):
        await self.peer["xep_0045"].set_role(slixmpp.JID(room), nick, role, timeout=20)

    async def people(self, room, affiliation):
        return sorted(map(str, await self.peer["xep_0045"].get_affiliation_list(slixmpp.JID(room), affiliation, timeout=20)))

    async def said(self, room):
        """What the room's archive has."""
        result = await self.peer["xep_0313"].retrieve(jid=slixmpp.JID(room), rsm={"max": 50}, timeout=20)
        return [m["mam_result"]["forwarded"]["stanza"]["body"] for m in result["mam"]["results"]]

    async def ping(self, occupant):
        iq = self.peer.make_iq_get(ito=occupant)
        iq.append(ET.Element("{urn:xmpp:ping}ping"))
        await iq.send(timeout=20)

    async def rooms(self, service):
        found = await self.peer["xep_0030"].get_items(jid=slixmpp.JID(service), timeout=20)
        return sorted(str(jid) for jid, _, _ in found["disco_items"]["items"])


asyncio.run(serve(Commands()))
