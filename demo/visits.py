"""What players hired in the demo market: past hires with what they wrote, and the ones that run now."""

from __future__ import annotations

from typing import NamedTuple


class Visit(NamedTuple):
    """A past hire by the hour. `minutes` are what the player used of it; without a rating there is no review."""

    player: str
    agent: str
    days_ago: float
    minutes: int
    rating: int | None = None
    title: str | None = None
    comment: str = ""


class Running(NamedTuple):
    """A hire under way: begun some minutes ago, for `hours`."""

    player: str
    agent: str
    minutes_ago: int
    hours: int
    voice: bool = False


RUNNING = (
    Running("max", "Nova", 12, 3, voice=True),
    Running("ines", "Kestrel", 47, 2),
    Running("tariq", "Sahra", 5, 6, voice=True),
    Running("mei", "Hanabi", 31, 2),
    Running("zoe", "Maestro", 3, 1),
)

VISITS = (
    Visit("max", "Nova", 13.2, 95, 5, "Finally out of Silver", "She saw every gank before I did, and told me why."),
    Visit(
        "max", "Kestrel", 10.4, 60, 4, "Great aim drills", "Warm-up plans that work. Talks a little too much mid-round."
    ),
    Visit("max", "Brim", 8.1, 118, 5, None, "Read my build, found the one wrong talisman, beat Malenia that evening."),
    Visit("max", "Cogsworth", 5.6, 55, 5, "My factory grows", "Belt balancing explained so that I understood it."),
    Visit("max", "Turbo", 3.3, 22, 2, "Not for me", "Knows the theory, but the lines it gave me were for another car."),
    Visit("max", "Lorekeeper", 1.2, 60, 4, "Good company", "Remembers what my bard said ten hours ago."),
    Visit("zoe", "Nova", 12.5, 60, 4, "Très bien", "Pas de français, mais des conseils clairs et calmes."),
    Visit("zoe", "Maestro", 11.0, 60, 5, "Magnifique", "On a l'impression de jouer devant un vrai public !"),
    Visit("zoe", "Truffle", 7.7, 44, 5, "Une ferme enfin rentable", "Des plans de saison simples, sans pression."),
    Visit("zoe", "Pinball", 4.9, 30, 3, "Correct", "Utile pour les aériens, répétitif ensuite."),
    Visit("zoe", "Aria", 2.2, 60),
    Visit("ravi", "Kestrel", 13.7, 120, 5, "Worth every DOF", "Two hours, three bad habits gone."),
    Visit("ravi", "Gambit", 9.5, 60, 5, "Like a patient teacher", "Asks questions until you find the move yourself."),
    Visit("ravi", "Gambit", 6.4, 180, 5, "Still the best", "Back for endgames. Same patience, harder puzzles."),
    Visit("ravi", "Siege", 3.0, 60, 4, None, "Good build orders; I would like more on scouting."),
    Visit("ravi", "Aegis", 0.9, 25, 3, "Fine", "Knows the patch, but is unsure on new heroes."),
    Visit(
        "ines", "Nova", 12.1, 180, 5, "¡Increíble!", "Explica la jungla con una paciencia enorme. Subí dos divisiones."
    ),
    Visit("ines", "Centella", 10.9, 60, 5, "Muy divertida", "Anima cuando pierdes y corrige sin humillar."),
    Visit("ines", "Kestrel", 8.8, 60, 4, "Buena puntería", "Rutinas cortas, resultados rápidos."),
    Visit("ines", "Rumba", 6.1, 60, 4, None, "Tácticas claras, y mucho ritmo."),
    Visit("ines", "Brim", 2.6, 90, 5, "Paciencia infinita", "Me acompañó en veinte intentos y no perdió el humor."),
    Visit("piotr", "Siege", 13.0, 60, 5, "Świetny trener", "Konkretne timingi i żadnego lania wody."),
    Visit("piotr", "Headshot Hal", 9.9, 60, 3, None, "Solid smokes, but the callouts come late."),
    Visit("piotr", "Cogsworth", 7.2, 240, 5, "Rocket launched", "From spaghetti to a rocket in one weekend."),
    Visit("piotr", "Gambit", 4.0, 45, 4, None, "Clear and kind, a little slow."),
    Visit("piotr", "Foundry", 1.5, 60, 5, None, "Redstone finally makes sense to me."),
    Visit("mei", "Hanabi", 13.5, 60, 5, "很有耐心", "讲解连招非常清楚，每一步都告诉我为什么。"),
    Visit("mei", "Hanabi", 11.3, 120, 5, "又来了", "这次学会了压起身，胜率明显提高。"),
    Visit("mei", "Jade Wind", 9.0, 60, 4, "声音好听", "声音很舒服，建议也实用。"),
    Visit("mei", "Mochi", 5.2, 50, 4, None, "队伍搭配建议不错，伤害计算很准。"),
    Visit("mei", "Aria", 2.9, 60, 5, "太棒了", "团战站位讲得特别好。"),
    Visit("joao", "Rumba", 12.8, 60, 5, "Craque", "Mudou a minha defesa por completo."),
    Visit("joao", "Rumba", 8.3, 60, 5, "De novo, e melhor", "Agora marco em contra-ataque."),
    Visit("joao", "Onça", 6.6, 60, 4, "Boa energia", "Ótima leitura de mapa, fala pelos cotovelos."),
    Visit("joao", "Turbo", 3.8, 60, 4, None, "Ganhei meio segundo em Interlagos."),
    Visit("hana", "Truffle", 11.8, 60, 5, "So calm", "The nicest hour of my week."),
    Visit("hana", "Lorekeeper", 9.2, 120, 5, None, "Voices every companion differently. I laughed a lot."),
    Visit("hana", "Foundry", 6.9, 35, 4, "Helpful", "Good plans for small houses. More roofs, please."),
    Visit("hana", "Pinball", 2.4, 60, 2, "Expected more", "Froze twice, and repeated itself after that."),
    Visit("tariq", "Sahra", 13.9, 60, 5, "ممتازة", "تشرح بهدوء وتصحح الأخطاء في وقتها."),
    Visit("tariq", "Sahra", 10.1, 120, 5, None, "أفضل مدربة جربتها حتى الآن."),
    Visit("tariq", "Headshot Hal", 7.4, 60, 4, "Good for duos", "We both improved our trades."),
    Visit("tariq", "Falcon", 4.4, 75, 4, "سريع", "ردود سريعة ونصائح عملية."),
    Visit("tariq", "Nova", 1.8, 60, 5, "Top", "Objective timers to the second."),
    Visit("emma", "Fjord", 12.0, 60, 5, "Perfekt", "Endelig noen som forklarer svinger på norsk."),
    Visit("emma", "Turbo", 9.7, 60, 5, "On pace", "Brake later, breathe more. It was right."),
    Visit(
        "emma", "Wrench", 5.9, 40, 1, "Wrong tune", "The set-up it gave me made the car undrivable, and it insisted."
    ),
    Visit("emma", "Fjord", 3.5, 60, 4, None, "Fine again, though shorter answers would help in a race."),
    Visit("emma", "Centella", 1.1, 30, 4, "Fun", "I do not speak Spanish well, and still understood all of it."),
)
