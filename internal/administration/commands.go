// SPDX-License-Identifier: Apache-2.0

package administration

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// commands are those of XEP-0133 §usecases @1.3.1 that there are, and those about reports.
func (f *administration) commands() []*form {
	one := field{"jid-single", "accountjid", "The account", false}
	many := []field{{"jid-multi", "accountjids", "The accounts", false}}
	most := []field{{"text-single", "max_items", "How many to show at most", true}}
	password := field{"text-private", "password", "The password", false}
	return []*form{
		{"add-user", "Add a user", []field{one, password, {"text-private", "password-verify", "The password once more", false}, {"text-single", "given_name", "The name that people see", true}}, f.add},
		{"delete-user", "Delete users", many, f.each(func(ctx context.Context, name string) error {
			_, err := f.o.Accounts.Delete(ctx, name)
			return err
		})},
		{"disable-user", "Disable users", many, f.each(func(ctx context.Context, name string) error {
			_, err := f.o.Accounts.SetEnabled(ctx, name, false)
			return err
		})},
		{"reenable-user", "Re-enable users", many, f.each(func(ctx context.Context, name string) error {
			_, err := f.o.Accounts.SetEnabled(ctx, name, true)
			return err
		})},
		{"change-user-password", "Change a user's password", []field{one, password}, func(ctx context.Context, in values) ([]*xmlstream.Element, string, error) {
			_, err := f.o.Accounts.SetPassword(ctx, in.one("accountjid"), in.one("password"))
			return nil, "", err
		}},
		{"get-registered-users-num", "Count registered users", nil, f.registeredNum},
		{"get-online-users-num", "Count online users", nil, f.onlineNum},
		{"get-registered-users-list", "List registered users", most, f.registered},
		{"get-online-users-list", "List online users", most, f.online},
		{stanza.NSReports, "List reports of abuse", []field{
			{"text-single", "max_items", "How many to show at most", true}, {"text-single", "before", "Only those before this number", true},
		}, f.reports},
		{stanza.NSReports + "#remove", "Remove reports of abuse", []field{{"text-multi", "numbers", "The numbers of those that have been dealt with", false}}, f.removeReports},
	}
}

// add is XEP-0133 §add-user @1.3.1.
func (f *administration) add(ctx context.Context, in values) ([]*xmlstream.Element, string, error) {
	if in.one("password") != in.one("password-verify") {
		return nil, "", stanza.Err(stanza.Modify, stanza.NotAcceptable, "the two passwords differ")
	}
	j, err := f.o.Accounts.Find(in.one("accountjid"))
	if err != nil {
		return nil, "", err
	}
	name := strings.TrimSpace(in.one("given_name") + " " + in.one("surname"))
	_, err = f.o.Accounts.Create(ctx, j.Local(), in.one("password"), name)
	return nil, "", err
}

// each changes several accounts. What cannot be changed is told in a note;
// when that is the only one, in an error.
func (f *administration) each(change func(context.Context, string) error) func(context.Context, values) ([]*xmlstream.Element, string, error) {
	return func(ctx context.Context, in values) ([]*xmlstream.Element, string, error) {
		names := in["accountjids"]
		var notes []string
		for _, name := range names {
			err := change(ctx, name)
			var e *stanza.Error
			switch {
			case err == nil:
			case len(names) > 1 && errors.As(err, &e):
				notes = append(notes, name+": "+e.Text)
			default:
				return nil, "", err
			}
		}
		return nil, strings.Join(notes, "\n"), nil
	}
}

func result(typ, name string, list ...string) []*xmlstream.Element {
	e := xmlstream.New(stanza.NSData, "field", "type", typ, "var", name)
	for _, v := range list {
		e.Add(xmlstream.NewText(stanza.NSData, "value", v))
	}
	return []*xmlstream.Element{e}
}

// registeredNum is XEP-0133 §get-registered-users-num @1.3.1.
func (f *administration) registeredNum(context.Context, values) ([]*xmlstream.Element, string, error) {
	return result("text-single", "registeredusersnum", strconv.Itoa(f.o.Count())), "", nil
}

// onlineNum is XEP-0133 §get-online-users-num @1.3.1.
func (f *administration) onlineNum(context.Context, values) ([]*xmlstream.Element, string, error) {
	_, n := f.o.Online(0)
	return result("text-single", "onlineusersnum", strconv.Itoa(n)), "", nil
}

// registered is XEP-0133 §get-registered-users-list @1.3.1.
func (f *administration) registered(_ context.Context, in values) ([]*xmlstream.Element, string, error) {
	limit, err := limit(in)
	if err != nil {
		return nil, "", err
	}
	all, err := f.o.List("", limit)
	if err != nil {
		return nil, "", err
	}
	list := make([]string, len(all))
	for i := range all {
		list[i] = all[i].JID
	}
	return result("jid-multi", "registereduserjids", list...), "", nil
}

// online is XEP-0133 §get-online-users-list @1.3.1.
func (f *administration) online(_ context.Context, in values) ([]*xmlstream.Element, string, error) {
	limit, err := limit(in)
	if err != nil {
		return nil, "", err
	}
	list, _ := f.o.Online(limit)
	return result("jid-multi", "onlineuserjids", list...), "", nil
}

// limit of a list: what is asked for, at most listMost.
func limit(in values) (int, error) {
	text := in.one("max_items")
	if text == "" || text == "none" {
		return listMost, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, stanza.Err(stanza.Modify, stanza.BadRequest, "max_items is a number above 0, or none")
	}
	return min(n, listMost), nil
}
