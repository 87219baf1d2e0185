"""What a notification says, by its name and language: a title and a text, with the facts' names in braces.

`{dof}` and the like are whole numbers, written with the language's own separators. English is complete; a text that a
language lacks is told in English.
"""

from __future__ import annotations

from collections.abc import Mapping

ENGLISH = "en"

SEPARATORS: Mapping[str, str] = {"en": ",", "es": ".", "de": "."}
"""Between the thousands of a whole number."""

MAIL_DIGEST: Mapping[str, tuple[str, str, str]] = {
    "en": (
        "What is new for you at JIGA Store",
        "This is what we gathered for you, the latest first:",
        "… and {more} more: your notifications in the store have them all.",
    ),
    "es": (
        "Tus novedades en JIGA Store",
        "Esto es lo que hemos reunido para ti, lo más reciente primero:",
        "… y {more} más: las tienes todas en tus notificaciones de la tienda.",
    ),
    "de": (
        "Neues für dich im JIGA Store",
        "Das haben wir für dich gesammelt, das Neueste zuerst:",
        "… und {more} weitere: in deinen Mitteilungen im Store stehen alle.",
    ),
}
"""Of a mail that tells of many: its subject, its first line, and its last where more was gathered than it lists."""

TEXTS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "hired": {
        "en": ("{agent} was hired", "A player hired {agent} for {dof} DOF."),
        "es": ("Han contratado a {agent}", "Un jugador ha contratado a {agent} por {dof} DOF."),
        "de": ("{agent} wurde gebucht", "Ein Spieler hat {agent} für {dof} DOF gebucht."),
    },
    "session_ended": {
        "en": ("Your session is over", "Your session with {agent} is over: {minutes} minutes, {dof} DOF."),
        "es": ("Tu sesión ha terminado", "Tu sesión con {agent} ha terminado: {minutes} minutos, {dof} DOF."),
        "de": ("Deine Sitzung ist vorbei", "Deine Sitzung mit {agent} ist vorbei: {minutes} Minuten, {dof} DOF."),
    },
    "hire_ended": {
        "en": ("A hire of {agent} is over", "A session with {agent} is over: you have earned {dof} DOF."),
        "es": (
            "Ha terminado una contratación de {agent}",
            "Ha terminado una sesión con {agent}: has ganado {dof} DOF.",
        ),
        "de": (
            "Eine Buchung von {agent} ist vorbei",
            "Eine Sitzung mit {agent} ist vorbei: du hast {dof} DOF verdient.",
        ),
    },
    "share_earned": {
        "en": ("You earned a share of {agent}", "A session with {agent}, your creation, brought you {dof} DOF."),
        "es": ("Has ganado una parte de {agent}", "Una sesión con {agent}, tu creación, te ha dado {dof} DOF."),
        "de": ("Dein Anteil an {agent}", "Eine Sitzung mit {agent}, deinem Werk, hat dir {dof} DOF gebracht."),
    },
    "session_low": {
        "en": ("Your session will end soon", "{dof} DOF are left for {agent}: extend the session to play on."),
        "es": ("Tu sesión terminará pronto", "Quedan {dof} DOF para {agent}: amplía la sesión para seguir jugando."),
        "de": (
            "Deine Sitzung endet bald",
            "Für {agent} bleiben {dof} DOF: verlängere die Sitzung, um weiterzuspielen.",
        ),
    },
    "dof_credited": {
        "en": ("Your DOF are here", "{dof} DOF were added to your wallet."),
        "es": ("Tus DOF ya están aquí", "Se han añadido {dof} DOF a tu monedero."),
        "de": ("Deine DOF sind da", "{dof} DOF wurden deinem Guthaben hinzugefügt."),
    },
    "dof_received": {
        "en": ("You received DOF", "A player sent you {dof} DOF."),
        "es": ("Has recibido DOF", "Un jugador te ha enviado {dof} DOF."),
        "de": ("Du hast DOF bekommen", "Ein Spieler hat dir {dof} DOF geschickt."),
    },
    "adjustment_credited": {
        "en": ("DOF were added to your wallet", "The store adjusted your wallet: {dof} DOF were added."),
        "es": ("Se han añadido DOF a tu monedero", "La tienda ha ajustado tu monedero: se han añadido {dof} DOF."),
        "de": ("DOF kamen zu deinem Guthaben", "Der Store hat dein Guthaben berichtigt: {dof} DOF kamen hinzu."),
    },
    "adjustment_debited": {
        "en": ("DOF were taken from your wallet", "The store adjusted your wallet: {dof} DOF were taken."),
        "es": ("Se han retirado DOF de tu monedero", "La tienda ha ajustado tu monedero: se han retirado {dof} DOF."),
        "de": ("DOF gingen von deinem Guthaben ab", "Der Store hat dein Guthaben berichtigt: {dof} DOF gingen ab."),
    },
    "purchase_cancelled": {
        "en": ("Your purchase was cancelled", "A purchase was cancelled before it was credited: no DOF were added."),
        "es": ("Tu compra se canceló", "Una compra se canceló antes de abonarse: no se han añadido DOF."),
        "de": (
            "Dein Kauf wurde storniert",
            "Ein Kauf wurde storniert, bevor er gutgeschrieben war: es kamen keine DOF hinzu.",
        ),
    },
    "purchase_refunded": {
        "en": ("Your purchase was refunded", "The money of a purchase went back to you before it was credited."),
        "es": ("Tu compra se reembolsó", "El dinero de una compra te fue devuelto antes de abonarse."),
        "de": ("Dein Kauf wurde erstattet", "Das Geld eines Kaufs ging an dich zurück, bevor er gutgeschrieben war."),
    },
    "purchase_rejected": {
        "en": ("Your purchase was not accepted", "We looked at a purchase and did not accept it: write to support."),
        "es": ("Tu compra no fue aceptada", "Hemos revisado una compra y no la hemos aceptado: escribe a soporte."),
        "de": (
            "Dein Kauf wurde nicht angenommen",
            "Wir haben einen Kauf geprüft und nicht angenommen: schreib an den Support.",
        ),
    },
    "payment_failed": {
        "en": ("Your payment failed", "Your bank did not make the payment of a purchase: pay in another way."),
        "es": ("Tu pago ha fallado", "Tu banco no realizó el pago de una compra: paga de otra manera."),
        "de": ("Deine Zahlung schlug fehl", "Deine Bank hat einen Kauf nicht bezahlt: zahle auf anderem Weg."),
    },
    "checkout_expired": {
        "en": ("Your checkout expired", "The page to pay a purchase on expired unpaid: begin the purchase again."),
        "es": ("Tu pago ha caducado", "La página para pagar una compra caducó sin pago: empieza la compra de nuevo."),
        "de": ("Deine Kasse ist abgelaufen", "Die Seite zum Bezahlen lief unbezahlt ab: beginne den Kauf neu."),
    },
    "purchase_restored": {
        "en": ("DOF of a purchase are back", "A refund or dispute of a purchase came to nothing: {dof} DOF are back."),
        "es": ("Han vuelto DOF de una compra", "Un reembolso o una disputa no prosperó: han vuelto {dof} DOF."),
        "de": ("DOF eines Kaufs sind wieder da", "Aus Erstattung oder Streit wurde nichts: {dof} DOF sind wieder da."),
    },
    "purchase_reversed": {
        "en": ("A purchase was refunded", "{dof} DOF of a refunded or disputed purchase were taken back."),
        "es": ("Se ha reembolsado una compra", "Se han retirado {dof} DOF de una compra reembolsada o impugnada."),
        "de": ("Ein Kauf wurde erstattet", "{dof} DOF eines erstatteten oder strittigen Kaufs wurden zurückgenommen."),
    },
    "session_refunded": {
        "en": ("You got DOF back", "{dof} DOF of a session were refunded to your wallet."),
        "es": ("Has recuperado DOF", "Se han reembolsado {dof} DOF de una sesión a tu monedero."),
        "de": ("Du hast DOF zurückbekommen", "{dof} DOF einer Sitzung wurden dir erstattet."),
    },
    "earnings_matured": {
        "en": ("Your earnings are ready", "Some of your earnings are available now: see your wallet."),
        "es": ("Tus ganancias están disponibles", "Parte de tus ganancias ya está disponible: mira tu monedero."),
        "de": ("Deine Einnahmen sind verfügbar", "Ein Teil deiner Einnahmen ist jetzt verfügbar: sieh ins Guthaben."),
    },
    "payout_paid": {
        "en": ("Your payout was paid", "Your payout of {money} is in your bank account."),
        "es": ("Tu pago se ha realizado", "Tu pago de {money} está en tu cuenta bancaria."),
        "de": ("Deine Auszahlung ist da", "Deine Auszahlung von {money} ist auf deinem Konto."),
    },
    "payout_failed": {
        "en": ("Your payout failed", "Your payout of {money} failed: the DOF are back in your wallet."),
        "es": ("Tu pago ha fallado", "Tu pago de {money} ha fallado: los DOF han vuelto a tu monedero."),
        "de": ("Deine Auszahlung schlug fehl", "Deine Auszahlung von {money} schlug fehl: die DOF sind wieder da."),
    },
    "review_received": {
        "en": ("{agent} was reviewed", "A player gave {agent} {rating} of 5 stars."),
        "es": ("{agent} tiene una reseña nueva", "Un jugador ha dado a {agent} {rating} de 5 estrellas."),
        "de": ("{agent} wurde bewertet", "Ein Spieler hat {agent} {rating} von 5 Sternen gegeben."),
    },
    "badge_awarded": {
        "en": ("A new badge", "You have earned the badge {badge}."),
        "es": ("Una insignia nueva", "Has ganado la insignia {badge}."),
        "de": ("Ein neues Abzeichen", "Du hast das Abzeichen {badge} verdient."),
    },
    "agent_badge_awarded": {
        "en": ("A new badge for {agent}", "{agent} has earned the badge {badge}."),
        "es": ("Una insignia nueva para {agent}", "{agent} ha ganado la insignia {badge}."),
        "de": ("Ein neues Abzeichen für {agent}", "{agent} hat das Abzeichen {badge} verdient."),
    },
    "rank_reached": {
        "en": ("{agent} is {rank} now", "{agent} has reached the rank {rank}."),
        "es": ("{agent} ya es {rank}", "{agent} ha alcanzado el rango {rank}."),
        "de": ("{agent} ist jetzt {rank}", "{agent} hat den Rang {rank} erreicht."),
    },
    "achievement_unlocked": {
        "en": ("A new achievement", "You have unlocked {achievement}."),
        "es": ("Un logro nuevo", "Has desbloqueado {achievement}."),
        "de": ("Ein neuer Erfolg", "Du hast {achievement} freigeschaltet."),
    },
    "agent_received": {
        "en": ("An agent is yours", "Another user gave you the agent {agent}: look at it before you publish it."),
        "es": ("Un agente es tuyo", "Otro usuario te ha dado el agente {agent}: revísalo antes de publicarlo."),
        "de": (
            "Ein Agent gehört dir",
            "Jemand hat dir den Agenten {agent} gegeben: sieh ihn vor dem Anbieten an.",
        ),
    },
    "api_key_created": {
        "en": ("A new API key", "The API key {name} was made for your account."),
        "es": ("Una clave de API nueva", "Se ha creado la clave de API {name} para tu cuenta."),
        "de": ("Ein neuer API-Schlüssel", "Der API-Schlüssel {name} wurde für dein Konto angelegt."),
    },
    "api_key_revoked": {
        "en": ("An API key was revoked", "The API key {name} of your account is no longer valid."),
        "es": ("Se ha revocado una clave de API", "La clave de API {name} de tu cuenta ya no es válida."),
        "de": ("Ein API-Schlüssel wurde widerrufen", "Der API-Schlüssel {name} deines Kontos gilt nicht mehr."),
    },
    "role_changed": {
        "en": ("Your role has changed", "Your role is now {role}."),
        "es": ("Tu rol ha cambiado", "Tu rol es ahora {role}."),
        "de": ("Deine Rolle hat sich geändert", "Deine Rolle ist jetzt {role}."),
    },
    "suspended": {
        "en": ("Your account is suspended", "A moderator suspended your account: {reason}"),
        "es": ("Tu cuenta está suspendida", "Un moderador ha suspendido tu cuenta: {reason}"),
        "de": ("Dein Konto ist gesperrt", "Ein Moderator hat dein Konto gesperrt: {reason}"),
    },
    "reinstated": {
        "en": ("Your account is open again", "The suspension of your account was lifted."),
        "es": ("Tu cuenta está activa de nuevo", "Se ha levantado la suspensión de tu cuenta."),
        "de": ("Dein Konto ist wieder offen", "Die Sperre deines Kontos wurde aufgehoben."),
    },
    "listing_suspended": {
        "en": ("{agent} was taken off the market", "A moderator suspended the listing of {agent}: {reason}"),
        "es": ("{agent} se ha retirado del mercado", "Un moderador ha suspendido el anuncio de {agent}: {reason}"),
        "de": ("{agent} wurde vom Markt genommen", "Ein Moderator hat das Angebot von {agent} gesperrt: {reason}"),
    },
    "listing_held": {
        "en": ("{agent} is under review", "A moderator looks at the listing of {agent}: {reason}"),
        "es": ("{agent} está en revisión", "Un moderador revisa el anuncio de {agent}: {reason}"),
        "de": ("{agent} wird geprüft", "Ein Moderator prüft das Angebot von {agent}: {reason}"),
    },
    "listing_lifted": {
        "en": ("{agent} is held back no more", "The listing of {agent} is again as you had it: {reason}"),
        "es": ("{agent} ya no está retenido", "El anuncio de {agent} vuelve a estar como lo tenías: {reason}"),
        "de": ("{agent} ist freigegeben", "Das Angebot von {agent} ist wieder, wie du es hattest: {reason}"),
    },
    "review_hidden": {
        "en": ("Your review was hidden", "A moderator hid the words of your review of {agent}: {reason}"),
        "es": ("Se ha ocultado tu reseña", "Un moderador ha ocultado el texto de tu reseña de {agent}: {reason}"),
        "de": (
            "Deine Bewertung wurde verborgen",
            "Ein Moderator hat den Text deiner Bewertung von {agent} verborgen: {reason}",
        ),
    },
    "review_restored": {
        "en": ("Your review is shown again", "A moderator shows the words of your review of {agent} again: {reason}"),
        "es": ("Tu reseña se muestra de nuevo", "Un moderador muestra otra vez tu reseña de {agent}: {reason}"),
        "de": (
            "Deine Bewertung ist wieder zu sehen",
            "Ein Moderator zeigt deine Bewertung von {agent} wieder: {reason}",
        ),
    },
    "appeal_granted": {
        "en": ("Your appeal was granted", "The listing of {agent} is again as you had it: {reason}"),
        "es": ("Tu apelación ha sido aceptada", "El anuncio de {agent} vuelve a estar como lo tenías: {reason}"),
        "de": (
            "Deinem Einspruch wurde stattgegeben",
            "Das Angebot von {agent} ist wieder, wie du es hattest: {reason}",
        ),
    },
    "appeal_upheld": {
        "en": ("Your appeal was declined", "The decision on the listing of {agent} stands: {reason}"),
        "es": ("Tu apelación ha sido rechazada", "La decisión sobre el anuncio de {agent} se mantiene: {reason}"),
        "de": ("Dein Einspruch wurde abgelehnt", "Die Entscheidung zum Angebot von {agent} bleibt: {reason}"),
    },
    "endpoint_disabled": {
        "en": ("A webhook endpoint was switched off", "{host} has failed for days and gets no more webhooks."),
        "es": ("Se ha desactivado un endpoint", "{host} lleva días fallando y ya no recibe webhooks."),
        "de": (
            "Ein Webhook-Endpunkt wurde abgeschaltet",
            "{host} ist seit Tagen gestört und bekommt keine Webhooks mehr.",
        ),
    },
}
