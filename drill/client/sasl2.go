// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// tokenMechanism binds a token to nothing: it works on every transport.
const tokenMechanism = "HT-SHA-256-NONE"

// Token is what an installation of a client logs in with once it has got it, with
// one request, instead of a password (XEP-0484). The zero value is ready: with
// it, a client logs in by password and asks for a token. It belongs to one account.
type Token struct {
	mu     sync.Mutex
	client string // UUID
	value  string
}

// Held reports whether there is a token, so that no password is needed.
func (t *Token) Held() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.value != ""
}

// now gives the client's id and the token.
func (t *Token) now() (client, value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == "" {
		var b [16]byte
		_, _ = rand.Read(b[:])                     // never fails
		b[6], b[8] = b[6]&0xf|0x40, b[8]&0x3f|0x80 // a random UUID
		t.client = fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	}
	return t.client, t.value
}

func (t *Token) set(value string) {
	t.mu.Lock()
	t.value = value
	t.mu.Unlock()
}

// enter logs in and resumes, or else binds, with one request (XEP-0388, XEP-0386,
// XEP-0198 §inline-resume @1.6.3).
func (s *Session) enter(features *xmlstream.Element) error {
	offered := features.Child(stanza.NSSASL2, "authentication")
	if offered == nil || offered.Child(stanza.NSSASL2, "inline").Child(stanza.NSBind2, "bind") == nil {
		return fmt.Errorf("%w: no SASL2 with Bind 2 on offer", ErrProtocol)
	}
	id, token := s.cfg.Token.now()
	request := xmlstream.New(stanza.NSSASL2, "authenticate")
	var success *xmlstream.Element
	var err error
	if token != "" {
		success, err = s.show(request, id, token)
	} else {
		success, err = s.prove(request, id, offered, offerOf(features))
	}
	if err != nil {
		return err
	}
	if issued := success.Child(stanza.NSFAST, "token").Get("token"); issued != "" {
		s.cfg.Token.set(issued)
	}
	s.jid = success.Child(stanza.NSSASL2, "authorization-identifier").Text()
	if Bare(s.jid) != s.cfg.JID {
		return fmt.Errorf("%w: logged in as %q", ErrProtocol, s.jid)
	}
	return s.entered(success)
}

// show logs in with the token (XEP-0484 §fast-auth @0.2.0); the server has to show
// that it knows it, too.
func (s *Session) show(request *xmlstream.Element, id, token string) (*xmlstream.Element, error) {
	sum := func(who string) []byte {
		mac := hmac.New(sha256.New, []byte(token))
		mac.Write([]byte(who))
		return mac.Sum(nil)
	}
	s.ask(request, tokenMechanism, append([]byte(s.cfg.local()+"\x00"), sum("Initiator")...), id)
	answer, data, err := s.exchange(s.wants(request.Add(xmlstream.New(stanza.NSFAST, "fast"))), "success")
	switch {
	case err != nil:
		return nil, err
	case !hmac.Equal(data, sum("Responder")):
		return nil, fmt.Errorf("%w: the server does not know the token", ErrAuth)
	}
	return answer, nil
}

// prove logs in with the password, and asks for a token.
func (s *Session) prove(request *xmlstream.Element, id string, offered *xmlstream.Element, o offer) (*xmlstream.Element, error) {
	o.mechanisms = texts(offered, stanza.NSSASL2)
	mechanism, err := s.mechanism(o)
	if err != nil {
		return nil, err
	}
	if fast := offered.Child(stanza.NSSASL2, "inline").Child(stanza.NSFAST, "fast"); !slices.Contains(texts(fast, stanza.NSFAST), tokenMechanism) {
		return nil, fmt.Errorf("%w: no tokens (%s) on offer", ErrProtocol, tokenMechanism)
	}
	c, err := newScram(mechanism, s.cfg.local(), s.cfg.Password, s.cfg.Keys)
	if err != nil {
		return nil, err
	}
	c.offered = o.text()
	if err := s.bindChannel(c, mechanism, o); err != nil {
		return nil, err
	}
	s.ask(request, mechanism, c.start(), id)
	request.Add(xmlstream.New(stanza.NSFAST, "request-token", "mechanism", tokenMechanism))
	_, first, err := s.exchange(s.wants(request), "challenge")
	if err != nil {
		return nil, err
	}
	proof, err := c.answer(first)
	if err != nil {
		return nil, err
	}
	response := xmlstream.NewText(stanza.NSSASL2, "response", base64.StdEncoding.EncodeToString(proof))
	success, final, err := s.exchange(response, "success")
	if err != nil {
		return nil, err
	}
	return success, c.finish(final)
}

// texts of the mechanisms in a list of them.
func texts(list *xmlstream.Element, space string) (all []string) {
	if list == nil {
		return nil
	}
	for _, m := range list.Elements() {
		if m.Is(space, "mechanism") {
			all = append(all, m.Text())
		}
	}
	return all
}

// ask begins a request (XEP-0388 §initiation @1.0.4).
func (s *Session) ask(request *xmlstream.Element, mechanism string, initial []byte, id string) {
	request.Set("mechanism", mechanism).Add(
		xmlstream.NewText(stanza.NSSASL2, "initial-response", base64.StdEncoding.EncodeToString(initial)),
		xmlstream.New(stanza.NSSASL2, "user-agent", "id", id))
}

// wants adds what is wanted beside the login.
func (s *Session) wants(request *xmlstream.Element) *xmlstream.Element {
	if r := s.cfg.Resume; r != nil {
		request.Add(resumeOf(r.sm))
	}
	bind := xmlstream.New(stanza.NSBind2, "bind")
	if s.cfg.Resource != "" {
		bind.Add(xmlstream.NewText(stanza.NSBind2, "tag", s.cfg.Resource))
	}
	if !s.cfg.NoStreamManagement {
		bind.Add(xmlstream.New(stanza.NSSM, "enable", "resume", "true"))
	}
	if s.cfg.Carbons {
		bind.Add(xmlstream.New(stanza.NSCarbons, "enable"))
	}
	return request.Add(bind)
}

// exchange sends an element and returns the answer, and the data that it carries.
func (s *Session) exchange(e *xmlstream.Element, want string) (*xmlstream.Element, []byte, error) {
	if err := s.tell(e); err != nil {
		return nil, nil, err
	}
	answer, err := s.next()
	if err != nil {
		return nil, nil, err
	}
	text := answer.Text()
	switch {
	case answer.Is(stanza.NSSASL2, "failure"):
		condition := answer.Child(stanza.NSSASL, "")
		if condition == nil {
			return nil, nil, ErrAuth
		}
		return nil, nil, fmt.Errorf("%w: %s", ErrAuth, condition.Name.Local)
	case !answer.Is(stanza.NSSASL2, want):
		return nil, nil, fmt.Errorf("%w: <%s/> instead of SASL2's <%s/>", ErrProtocol, answer.Name.Local, want)
	case want == "success":
		text = answer.Child(stanza.NSSASL2, "additional-data").Text()
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: SASL2 data: %w", ErrProtocol, err)
	}
	return answer, data, nil
}

// entered takes in what came of the rest of the request.
func (s *Session) entered(success *xmlstream.Element) error {
	if r := s.cfg.Resume; r != nil {
		for _, answer := range success.Elements() {
			if answer.Name.Space != stanza.NSSM {
				continue
			}
			if err := s.took(r.sm, answer); err != nil || s.resumed {
				return err
			}
		}
	}
	bound := success.Child(stanza.NSBind2, "bound")
	if bound == nil {
		return fmt.Errorf("%w: nothing was bound", ErrProtocol)
	}
	s.stream = s.jid + "#" + strconv.FormatInt(time.Now().UnixNano(), 10)
	if _, err := s.expect(stanza.NSStream, "features"); err != nil {
		return err
	}
	if s.cfg.NoStreamManagement {
		return nil
	}
	return s.managed(bound.Child(stanza.NSSM, "enabled"))
}
