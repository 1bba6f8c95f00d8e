# SPDX-License-Identifier: Apache-2.0
"""slixmpp asks for its list of chats, and for people (see lines.py)."""

import asyncio
import xml.etree.ElementTree as ET

from lines import serve

from slixmpp.xmlstream.handler import Collector
from slixmpp.xmlstream.matcher import MatchXPath

import slixmpp_peer

INBOX = "{urn:xmpp:inbox:1}"
SEARCH = "{jabber:iq:search}"


class Commands(slixmpp_peer.Commands):
    async def ask(self, kind, to, payload):
        iq = self.peer.make_iq(ito=to or None, itype=kind)
        iq.append(ET.fromstring(payload))
        return await iq.send(timeout=20)

    async def chats(self):
        """Each chat as "address unread last", and the counts."""
        found = Collector("chats", MatchXPath("{jabber:client}message/" + INBOX + "entry"))
        self.peer.register_handler(found)
        done = await self.ask("get", "", "<inbox xmlns='urn:xmpp:inbox:1'/>")
        lines = []
        for message in found.stop():
            entry = message.xml.find(INBOX + "entry")
            body = message.xml.find(".//{jabber:client}body")
            lines.append("%s %s %s" % (entry.get("jid"), entry.get("unread"), body.text if body is not None else ""))
        fin = done.xml.find(INBOX + "fin")
        return lines + ["%s %s %s" % (fin.get("total"), fin.get("unread"), fin.get("all-unread"))]

    async def enlist(self, name):
        await self.ask("set", "people.localhost", "<query xmlns='jabber:iq:register'><nick>%s</nick></query>" % name)

    async def people(self, text):
        found = await self.ask("set", "people.localhost", "<query xmlns='jabber:iq:search'><nick>%s</nick></query>" % text)
        return ["%s %s" % (i.get("jid"), i.findtext(SEARCH + "nick")) for i in found.xml.iter(SEARCH + "item")]


asyncio.run(serve(Commands()))
