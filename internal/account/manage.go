// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"

	"bavard/internal/command"
	"bavard/internal/jid"
)

// Find gives the address of a name as an operator writes it: with or without
// the domain. The error is a *stanza.Error.
func (s *Service) Find(name string) (jid.JID, error) {
	if j, err := jid.ParseBare(name); err == nil && j.Local() != "" {
		if j.Domain() != s.domain {
			return jid.JID{}, notAcceptable("This server is for addresses @" + s.domain + ".")
		}
		return j, nil
	}
	return s.parseLocal(name)
}

// SetPassword replaces the keys of an account for the operator and ends its
// sessions. Errors are *stanza.Error where the fault is in what was given.
func (s *Service) SetPassword(ctx context.Context, name, password string) (jid.JID, error) {
	j, err := s.Find(name)
	if err != nil {
		return jid.JID{}, err
	}
	return j, s.ChangePassword(ctx, j.String(), password)
}

// SetEnabled lets an account log in, or ends its sessions and keeps it from
// logging in.
func (s *Service) SetEnabled(ctx context.Context, name string, enabled bool) (jid.JID, error) {
	j, err := s.Find(name)
	if err != nil {
		return jid.JID{}, err
	}
	return j, s.do(ctx, &command.Command{Request: &command.Command_AccountDisable{
		AccountDisable: &command.AccountDisable{Jid: j.String(), Enable: enabled},
	}})
}

// Delete removes an account and what is its own, for good.
func (s *Service) Delete(ctx context.Context, name string) (jid.JID, error) {
	j, err := s.Find(name)
	if err != nil {
		return jid.JID{}, err
	}
	return j, s.do(ctx, &command.Command{Request: &command.Command_AccountDelete{AccountDelete: &command.AccountDelete{Jid: j.String()}}})
}

// RemoveReport removes a report of abuse that has been dealt with; there is none, says a
// *stanza.Error with item-not-found.
func (s *Service) RemoveReport(ctx context.Context, number uint64) error {
	return s.do(ctx, &command.Command{Request: &command.Command_ReportRemove{ReportRemove: &command.ReportRemove{Number: number}}})
}
