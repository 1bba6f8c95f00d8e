# SPDX-License-Identifier: Apache-2.0
"""slixmpp as a phone: it says when nobody looks, and is woken (see lines.py)."""

import asyncio
import xml.etree.ElementTree as ET

from lines import out, serve

import slixmpp_peer


class Peer(slixmpp_peer.Peer):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password, ca)
        self.register_plugin("xep_0352")
        self.add_event_handler("csi_enabled", lambda _: out(event="csi_enabled"))


class Commands(slixmpp_peer.Commands):
    async def connect(self, jid, password, host, port, ca):
        self.address = (host, port)
        self.peer = Peer(jid, password, ca)
        self.peer.default_port = port
        self.peer.connect((host, port))

    async def inactive(self):
        self.peer["xep_0352"].send_inactive()

    async def active(self):
        self.peer["xep_0352"].send_active()

    async def services(self):
        """What the domain has of push services, by service discovery."""
        found = []
        items = await self.peer["xep_0030"].get_items(jid=self.peer.boundjid.domain, timeout=20)
        for jid, _, _ in items["disco_items"]["items"]:
            info = await self.peer["xep_0030"].get_info(jid=jid, timeout=20)
            for category, kind, _, _ in info["disco_info"]["identities"]:
                if (category, kind) == ("pubsub", "push"):
                    found.append([jid, sorted(info["disco_info"]["features"])])
        return found

    async def can_push(self):
        info = await self.peer["xep_0030"].get_info(jid=self.peer.boundjid.bare, timeout=20)
        return "urn:xmpp:push:0" in info["disco_info"]["features"]

    async def key(self, service):
        iq = self.peer.make_iq_get(ito=service)
        iq.append(ET.Element("{urn:bavard:push:0}key"))
        return (await iq.send(timeout=20)).xml[0].text

    async def register(self, service, endpoint, p256dh, auth):
        iq = self.peer.make_iq_set(ito=service)
        register = ET.SubElement(iq.xml, "{urn:bavard:push:0}register")
        for name, text in (("endpoint", endpoint), ("p256dh", p256dh), ("auth", auth)):
            ET.SubElement(register, "{urn:bavard:push:0}" + name).text = text
        registered = (await iq.send(timeout=20)).xml[0]
        return [registered.get("node"), registered.get("secret")]

    async def enable(self, service, node, secret):
        """XEP-0357, example 9."""
        iq = self.peer.make_iq_set()
        enable = ET.SubElement(iq.xml, "{urn:xmpp:push:0}enable", {"jid": service, "node": node})
        form = ET.SubElement(enable, "{jabber:x:data}x", {"type": "submit"})
        for name, value in (("FORM_TYPE", "http://jabber.org/protocol/pubsub#publish-options"), ("secret", secret)):
            field = ET.SubElement(form, "{jabber:x:data}field", {"var": name})
            ET.SubElement(field, "{jabber:x:data}value").text = value
        await iq.send(timeout=20)

    async def disable(self, service, node):
        iq = self.peer.make_iq_set()
        ET.SubElement(iq.xml, "{urn:xmpp:push:0}disable", {"jid": service, "node": node})
        await iq.send(timeout=20)


if __name__ == "__main__":
    asyncio.run(serve(Commands()))
