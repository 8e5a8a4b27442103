from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection
from django.template.defaultfilters import pluralize

from products.management.base import ExitCode, InventoryCommand, whole_number
from products.management.repeating import stop_signal
from products.models import Subscription
from products.publishing import subscriptions
from products.publishing.relay import Relay


class Command(InventoryCommand):
    help = (
        "Deliver stock events to webhooks, and to the broker of PUBLISHER_URL.\n\n"
        "Keep one process with --follow running; two or more share the work. Without --follow, it "
        "delivers the events that exist now, as far as the receivers accept them, and ends."
    )
    examples = (
        "publish_events --follow",
        "publish_events --restored",
        "publish_events --webhook 7 --replay-from 1873-1764490000000000",
        "publish_events --webhook 7 --skip 1874 --reason 'SKU is unknown to the receiver'",
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        action = parser.add_mutually_exclusive_group()
        action.add_argument(
            "--follow", action="store_true", help="go on until Ctrl-C or SIGTERM (default: once)"
        )
        action.add_argument(
            "--restored",
            action="store_true",
            help="after the database was restored from a backup: tell each receiver first",
        )
        action.add_argument(
            "--replay-from",
            metavar="CURSOR",
            help="send the events after this cursor again: a cursor of the feed, `start`, or "
            "`latest` to leave out what waits",
        )
        action.add_argument(
            "--skip",
            metavar="EVENT",
            type=whole_number,
            help="leave out an event, by its id, that the receiver can never accept",
        )
        parser.add_argument(
            "--webhook", metavar="ID", type=whole_number, help="for --replay-from and --skip"
        )
        parser.add_argument(
            "--broker", action="store_true", help="the broker, instead of --webhook"
        )
        parser.add_argument(
            "--reason", metavar="TEXT", help="why, for --skip; kept with the attempt"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._handle(options)
        except subscriptions.SubscriptionError as refusal:
            message = f"{refusal.code}: {refusal.detail}"
            raise CommandError(message, returncode=ExitCode.REFUSED) from refusal

    def _handle(self, options: dict[str, Any]) -> None:
        if options["restored"]:
            number = subscriptions.note_restore_for_all()
            self.report(f"{number} subscription{pluralize(number)} will report the restore first.")
        elif options["replay_from"] is not None:
            subscription = self._subscription(options)
            subscriptions.edit(subscription.pk, after=options["replay_from"])
            self.report(f"{subscription} gets the events after {options['replay_from']} again.")
        elif options["skip"] is not None:
            self._skip(options)
        else:
            self._publish(follow=options["follow"])

    def _publish(self, *, follow: bool) -> None:
        relay = Relay()
        with stop_signal() as stopped:
            connection.close()
            if follow:
                relay.follow(stopped)
            else:
                relay.run_once(stopped)
        self.report(f"{relay.delivered} event{pluralize(relay.delivered)} delivered.")

    def _skip(self, options: dict[str, Any]) -> None:
        if not options["reason"]:
            raise CommandError("--skip needs a --reason.", returncode=ExitCode.BAD_INPUT)
        subscription = self._subscription(options)
        subscriptions.skip(subscription.pk, event_id=options["skip"], reason=options["reason"])
        self.report(f"Event {options['skip']} is left out for {subscription}.")

    def _subscription(self, options: dict[str, Any]) -> Subscription:
        found = Subscription.objects.filter(
            **({"url": ""} if options["broker"] else {"pk": options["webhook"]})
        ).first()
        if found is None or (options["webhook"] is None and not options["broker"]):
            raise CommandError("Name a webhook by --webhook ID.", returncode=ExitCode.BAD_INPUT)
        return found
