# SPDX-License-Identifier: Apache-2.0
"""slixmpp with what else it can do between two people (see lines.py)."""

import asyncio
import base64
import hashlib
import xml.etree.ElementTree as ET

from lines import out, serve

import slixmpp
from slixmpp.plugins.xep_0048.stanza import Bookmarks

import slixmpp_peer


class Peer(slixmpp_peer.Peer):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password, ca)
        for name in ("xep_0012", "xep_0048", "xep_0049", "xep_0054", "xep_0077", "xep_0092", "xep_0153", "xep_0191", "xep_0334", "xep_0424", "xep_0444"):
            self.register_plugin(name)
        self["xep_0077"].create_account = False
        for node in ("eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:bookmarks:1"):
            self["xep_0030"].add_feature(node + "+notify")
        self.add_event_handler("message_correction", lambda m: out(event="correction", replaces=m["replace"]["id"], body=m["body"]))
        self.add_event_handler("reactions", lambda m: out(event="reactions", id=m["reactions"]["id"], values=sorted(m["reactions"]["values"])))
        self.add_event_handler("message_retract", lambda m: out(event="retraction", xml=str(m)))
        self.add_event_handler("vcard_avatar_update", lambda p: out(event="photo", hash=p["vcard_temp_update"]["photo"], **{"from": str(p["from"])}))
        self.add_event_handler("pubsub_publish", self.item)
        self.add_event_handler("blocked", lambda iq: out(event="blocked", jids=sorted(map(str, iq["block"]["items"]))))
        self.add_event_handler("unblocked", lambda iq: out(event="unblocked", jids=sorted(map(str, iq["unblock"]["items"]))))

    def item(self, message):
        items = message["pubsub_event"]["items"]
        out(event="item", node=items["node"], id=items["item"]["id"], **{"from": str(message["from"])})


class Registration(Peer):
    """Makes its account before it logs in, with the token of an invite."""

    def __init__(self, jid, password, ca, token):
        super().__init__(jid, password, ca)
        plugin = self["xep_0077"]
        plugin.create_account = True
        ask = plugin.get_registration

        async def show_and_ask():
            """slixmpp asks for the form first; the token belongs before that."""
            show = self.make_iq_set()
            show.append(ET.Element("{urn:xmpp:pars:0}preauth", {"token": token}))
            try:
                await show.send(timeout=20)
                return await ask(timeout=20)
            except slixmpp.exceptions.IqError as error:
                out(event="refused", condition=error.condition)
                self.abort()
                raise

        plugin.get_registration = show_and_ask
        self._always_send_everything = True  # slixmpp 1.8.3 holds back its own requests of registration
        self.add_event_handler("register", self.register)

    async def register(self, form):
        iq = self.make_iq_set()
        iq["register"]["username"], iq["register"]["password"] = self.boundjid.user, self.password
        await iq.send(timeout=20)
        out(event="registered", fields=sorted(form["register"]["fields"]))


def element(text):
    return ET.fromstring(text)


class Commands(slixmpp_peer.Commands):
    async def connect(self, jid, password, host, port, ca, token=None):
        self.address = (host, port)
        self.peer = Registration(jid, password, ca, token) if token else Peer(jid, password, ca)
        self.peer.default_port = port
        self.peer.connect((host, port))

    async def react(self, to, id, values):
        self.peer["xep_0444"].send_reactions(slixmpp.JID(to), id, values)

    async def retract(self, to, id):
        self.peer["xep_0424"].send_retraction(slixmpp.JID(to), id)

    async def block(self, jid):
        await self.peer["xep_0191"].block(slixmpp.JID(jid), timeout=20)

    async def unblock(self, jid):
        await self.peer["xep_0191"].unblock(slixmpp.JID(jid), timeout=20)

    async def blocklist(self):
        return sorted(map(str, (await self.peer["xep_0191"].get_blocked(timeout=20))["blocklist"]["items"]))

    async def last_activity(self, jid):
        return (await self.peer["xep_0012"].get_last_activity(slixmpp.JID(jid), timeout=20))["last_activity"]["seconds"]

    async def version(self, jid):
        return (await self.peer["xep_0092"].get_version(slixmpp.JID(jid), timeout=20))["software_version"]["name"]

    async def set_vcard(self, name):
        card = self.peer["xep_0054"].make_vcard()
        card["FN"] = name
        await self.peer["xep_0054"].publish_vcard(card, timeout=20)

    async def vcard(self, jid):
        card = (await self.peer["xep_0054"].get_vcard(slixmpp.JID(jid), cached=False, timeout=20))["vcard_temp"]
        photo = card["PHOTO"]["BINVAL"]
        return {"name": card["FN"], "photo": base64.b64encode(photo).decode() if photo else ""}

    async def set_photo(self, data):
        """The picture as old clients set it, in the vCard (XEP-0153)."""
        picture = base64.b64decode(data)
        await self.peer["xep_0153"].set_avatar(avatar=picture, mtype="image/png", timeout=20)
        return hashlib.sha1(picture).hexdigest()

    async def picture(self, jid, id):
        """The picture as new clients get it, by PEP (XEP-0084)."""
        result = await self.peer["xep_0084"].retrieve_avatar(slixmpp.JID(jid), id, timeout=20)
        return base64.b64encode(result["pubsub"]["items"]["item"]["avatar_data"]["value"]).decode()

    async def set_bookmarks(self, jid, name):
        """Bookmarks as old clients keep them, in private storage (XEP-0048, XEP-0049)."""
        bookmarks = Bookmarks()
        bookmarks.add_conference(slixmpp.JID(jid), "me", name=name, autojoin=False)
        await self.peer["xep_0048"].set_bookmarks(bookmarks, method="xep_0049", timeout=20)

    async def bookmarks(self):
        result = await self.peer["xep_0048"].get_bookmarks(method="xep_0049", timeout=20)
        return ["%s %s" % (c["name"], c["jid"]) for c in result["private"]["bookmarks"]["conferences"]]

    async def store(self, xml):
        """Private storage of anything (XEP-0049)."""
        iq = self.peer.make_iq_set()
        query = ET.Element("{jabber:iq:private}query")
        query.append(element(xml))
        iq.append(query)
        await iq.send(timeout=20)

    async def stored(self, xml):
        iq = self.peer.make_iq_get()
        query = ET.Element("{jabber:iq:private}query")
        query.append(element(xml))
        iq.append(query)
        result = await iq.send(timeout=20)
        return "".join(result.xml.find("{jabber:iq:private}query")[0].itertext())

    async def publish(self, node, id, xml, options=None):
        """Publishes an item as it stands, as OMEMO's plug-ins do."""
        form = None
        if options:
            form = self.peer["xep_0004"].make_form(ftype="submit")
            form.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#publish-options")
            for name, value in options.items():
                form.add_field(var=name, value=value)
        await self.peer["xep_0060"].publish(None, node, id=id, payload=element(xml), options=form, timeout=20)

    async def published(self, jid, node):
        result = await self.peer["xep_0060"].get_items(slixmpp.JID(jid), node, timeout=20)
        return {item["id"]: ET.tostring(item["payload"], encoding="unicode") for item in result["pubsub"]["items"]}

    async def delete_item(self, node, id):
        await self.peer["xep_0060"].retract(None, node, id, notify=True, timeout=20)

    async def metadata(self):
        """How far the archive reaches (XEP-0313's #extended)."""
        iq = self.peer.make_iq_get()
        iq.append(ET.Element("{urn:xmpp:mam:2}metadata"))
        found = (await iq.send(timeout=20)).xml.find("{urn:xmpp:mam:2}metadata")
        return {child.tag.split("}")[1]: child.get("id") for child in found}

    async def between(self, peer, before=None, after=None, page=50):
        """Archive ids of what lies before or after one of them."""
        rsm = {"max": page}
        if before:
            rsm["before"] = before
        if after:
            rsm["after"] = after
        result = await self.peer["xep_0313"].retrieve(with_jid=slixmpp.JID(peer), rsm=rsm, timeout=20)
        return [m["mam_result"]["id"] for m in result["mam"]["results"]]

    async def change_password(self, password):
        await self.peer["xep_0077"].change_password(password, jid="localhost", timeout=20)


asyncio.run(serve(Commands()))
